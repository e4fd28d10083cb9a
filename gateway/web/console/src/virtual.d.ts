declare module "virtual:licences" {
  const licences: { name: string; version: string; licence: string | null }[];
  export default licences;
}
