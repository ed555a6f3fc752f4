"""What fills a job: presets, sizes, words of styles and qualities, seeds."""
