/** The object identifiers that X.509 SVIDs and PKCS#10 requests need, by their names in the RFCs. */
export const oids = {
  // RFC 5280 4.2.1
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  // RFC 5280 4.2.1.12
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  // RFC 5280 appendix A.1
  organizationName: '2.5.4.10',
  commonName: '2.5.4.3',
  // RFC 2985 5.4.2
  extensionRequest: '1.2.840.113549.1.9.14',
  // RFC 5758 3.2 and RFC 8017 A.2.4
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  ecdsaWithSha384: '1.2.840.10045.4.3.3',
  sha256WithRsa: '1.2.840.113549.1.1.11',
  sha384WithRsa: '1.2.840.113549.1.1.12',
} as const;
