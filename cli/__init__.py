"""The `batchdrop` command: what a person does with a deployed stack, on AWS or on an emulator."""
