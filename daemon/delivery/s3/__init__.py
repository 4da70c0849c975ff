"""S3 as its many servers speak it. boto3 costs 40 MB and half a second: imported with the first delivery there."""
