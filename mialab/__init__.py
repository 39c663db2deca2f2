"""mialab: learn, measure and question membership inference."""

__version__ = "0.1.0"
