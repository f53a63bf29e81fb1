"""What draws the course's own pictures: pen strokes of digits, surfaces and objects, skies and forests."""
