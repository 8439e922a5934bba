"""Questions with known answers → how well passages are found, answers are made and cited. No judge model."""
