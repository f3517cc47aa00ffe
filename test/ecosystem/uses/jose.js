import { CompactEncrypt, compactDecrypt, generateKeyPair, jwtVerify, SignJWT } from "jose";

export async function use() {
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  const token = await new SignJWT({}).setProtectedHeader({ alg: "ES256" }).setSubject("me").sign(privateKey);
  const { payload } = await jwtVerify(token, publicKey);
  const secret = crypto.getRandomValues(new Uint8Array(32));
  const packed = await new CompactEncrypt(new TextEncoder().encode("secret"))
    .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
    .encrypt(secret);
  const { plaintext } = await compactDecrypt(packed, secret);
  const forged = await jwtVerify(token, (await generateKeyPair("ES256")).publicKey).catch(({ code }) => code);
  return { subject: payload.sub, decrypted: new TextDecoder().decode(plaintext), forged };
}
