"""What notebooks use: set-up, figures, sliders, trained targets, and the regression of chapters."""
