"""The able hand's clock, lag and motion brought to the nerve's samples; `review` does all of it for some trials."""
