"""How the C library of a function keeps the memory that was freed.

By default it gives blocks of some hundred kilobytes back to the system as soon as they are free,
and asks for them again a moment later; each page of them is then cleared and mapped anew, which
takes up to a seventh of the time of reading and writing lines. So it keeps up to 32 MiB, and only
what is larger than any piece of a file is mapped by itself. What is used at most stays the same.

https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
}
