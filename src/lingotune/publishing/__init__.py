"""A trained model on the Hugging Face Hub: access, contents, model card, pushes."""
