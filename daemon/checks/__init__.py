"""What a healthy installation looks like, checked: ``tunerd doctor`` and the Health page both show it."""
