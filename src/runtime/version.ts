/** Of this program: that of package.json, which is not there in every installation. */
export const version = '0.1.0';
