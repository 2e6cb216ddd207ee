"""Large books that live: what is kept up to date between two prices."""
