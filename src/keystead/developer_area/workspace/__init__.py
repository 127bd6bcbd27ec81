"""The pages of a workspace: collections, activity, plan, notifications, quick start."""
