"""The Hugging Face Hub. Its library costs 30 MB and a second: it is imported with the first delivery there."""
