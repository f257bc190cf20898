import Testing

/// Values that cannot work are refused with the place, the value and what was expected; nothing else is refused.
@Suite struct ChartErrorTests {
  struct Case: CustomTestStringConvertible {
    let values: String
    let words: [String]
    var testDescription: String { values }
  }

  static let refused: [Case] = [
    Case(values: "podCidr: 10.244.0.0", words: ["/podCidr", "10.244.0.0"]),
    Case(values: "podCidrv6: 10.244.0.0/16", words: ["/podCidrv6", "10.244.0.0/16"]),
    Case(values: "flannel: {backend: vxlna}", words: ["flannel.backend \"vxlna\"", "vxlan, host-gw, wireguard"]),
    Case(values: "flannel: {backend: [vxlan]}", words: ["/flannel/backend", "want string"]),
    Case(values: "flannel: {backendPort: 70000}", words: ["/flannel/backendPort", "65,535"]),
    Case(values: "flannel: {vni: one}", words: ["/flannel/vni", "'one'"]),
    Case(values: "flannel: {enableNFTables: 'false'}", words: ["/flannel/enableNFTables", "true, false"]),
    Case(values: "flannel: {tunnelMode: fast}", words: ["/flannel/tunnelMode", "'separate', 'auto', 'ipv4', 'ipv6'"]),
    Case(values: "flannel: {args: --ip-masq}", words: ["/flannel/args", "want null or array"]),
    Case(values: "flannel: {cniBinDir: bin}", words: ["/flannel/cniBinDir", "'^/'"]),
    Case(values: "flannel: {cniPlugins: bridge}", words: ["/flannel/cniPlugins", "'flannel', 'all'"]),
    Case(values: "flannel: {cniConf: 'no JSON'}", words: ["flannel.cniConf is not a configuration list in JSON"]),
    Case(values: "flannel: {cniVersion: '2.0'}", words: ["/flannel/cniVersion", "'1.1.0'"]),
    Case(values: "flannel: {backendConfig: {type: udp}}", words: ["set flannel.backend instead"]),
    Case(values: "flannel: {image: {digest: abc}}", words: ["/flannel/image/digest", "sha256"]),
    Case(values: "global: {imagePullSecrets: [a]}", words: ["/global/imagePullSecrets/0", "want object"]),
    Case(values: "cleanup: {enable: true}", words: ["/cleanup", "'enable' not allowed"]),
  ]

  @Test(arguments: refused) func isRefused(_ c: Case) throws {
    let output = try Chart.helm(["template", "weft"], values: c.values)
    #expect(!output.exit.isSuccess)
    for word in c.words { #expect(output.errorText.contains(word), "\(output.errorText)") }
  }

  /// A value that the chart does not know may be a mistake: it is said, not refused. So are images of Flannel.
  @Test func notesTellWhatHasNoEffect() throws {
    let output = try Chart.helm(
      ["install", "weft", "--dry-run=client"],
      values: "flannel: {bakend: udp, image: {repository: docker.io/flannel/flannel, tag: v0.27.0}}")
    #expect(output.text.contains("WARNING: flannel.bakend is not a value of this chart"), "\(output.errorText)")
    #expect(output.text.contains("NOTE: flannel.image names an image of Flannel"))
    #expect(!output.text.contains("flannel.backend is not"))
  }

  @Test func notesWarnOfNothingByDefault() throws {
    let every = try Chart.helm(["install", "weft", "--dry-run=client"], values: "{}")
    #expect(every.exit.isSuccess, "\(every.errorText)")
    #expect(!every.text.contains("WARNING"))
    #expect(!every.text.contains("NOTE:"))
  }
}
