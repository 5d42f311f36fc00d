"""What people ask of a running job, what broke off, and what is to be deleted."""
