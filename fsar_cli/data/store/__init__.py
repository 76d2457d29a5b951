"""From video files to a frame store: what is read, how it is cut and thinned, what is left on disk."""
