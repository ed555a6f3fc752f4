"""What differs between kinds of work: one file each for sdxl, wan and chat."""
