"""What a calibration came to, on one page for people who do not know the program: HTML, PDF and JSON."""
