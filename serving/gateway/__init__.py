"""The public endpoint: OpenAI's Images API in front of a service that makes images and edits them in turns."""
