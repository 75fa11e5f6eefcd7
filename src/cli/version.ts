/** Of this program, as in package.json: processes say it, and charts install it. */
export const version = '0.1.0';
