"""What other trainers speak: one file each, from their words to the judge's and back."""
