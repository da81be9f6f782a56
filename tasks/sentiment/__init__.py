"""Sentiment of short reviews: films, food, products and places, written for this project."""
