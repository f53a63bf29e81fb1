"""What grades notebooks that students handed in: their processes, the fence around them, and the parts that count."""
