"""The copilot: what a person, and later an agent, drives the microscope with."""
