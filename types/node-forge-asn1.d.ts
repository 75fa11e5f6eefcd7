/** The codec alone, of which `@types/node-forge` knows as a part of the whole. */
declare module 'node-forge/lib/asn1.js' {
  import { asn1 } from 'node-forge';

  export = asn1;
}
