"""`python -m gfs_sr.cli`: the same as `gfs-sr`."""

from gfs_sr.cli.app import main

if __name__ == "__main__":
    main()
