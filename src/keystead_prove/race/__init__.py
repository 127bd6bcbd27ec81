"""The race between acts that revoke access and verifications, and the judgement of its histories."""
