"""Credit packs bought by Stripe Checkout: the provider's wire, its events, and what they come to."""
