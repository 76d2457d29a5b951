"""`fsar extract-frames`."""


def extract_frames() -> None:
    """Decode videos into a frame store."""
