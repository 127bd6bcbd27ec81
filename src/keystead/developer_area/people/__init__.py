"""The pages of members, invitations and accounts."""
