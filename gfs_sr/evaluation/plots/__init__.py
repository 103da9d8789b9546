"""Every kind of picture, from plain arrays; how they all look is in style.py."""
