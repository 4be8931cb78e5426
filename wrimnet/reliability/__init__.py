"""The fault drill: real runs under kills, damaged files, full disks and hostile input."""
