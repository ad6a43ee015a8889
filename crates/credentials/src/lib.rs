//! Who we are to Zuora, and who apps are to us.
