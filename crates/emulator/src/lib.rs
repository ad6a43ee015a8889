//! An emulated Zuora tenant, sharing no code with the gateway it judges.
