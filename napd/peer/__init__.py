"""`twistd nappeer`: shares directories, serves others, downloads from them, obeys `napctl`."""
