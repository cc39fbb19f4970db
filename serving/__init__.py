"""Everything TF Serving needs: signatures, bundle, embedded server, client."""
