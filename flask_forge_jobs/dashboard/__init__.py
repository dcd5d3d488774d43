"""The pages for people: templates over the same handlers as the API's views."""
