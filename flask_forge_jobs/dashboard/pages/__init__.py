"""The pages, a module each; a module that is put here is served."""
