import sharp from "sharp";

export async function use() {
  const create = { width: 8, height: 4, channels: 3, background: "red" };
  const png = await sharp({ create }).resize(4, 2).png().toBuffer();
  const { width, height, format } = await sharp(png).metadata();
  return { width, height, format };
}
