import Glibc
import Installer
import Syscalls
import TestSupport
import Testing

/// The configuration list, real files.
@Suite struct ConfigurationTests {
  static let flannel = #"""
    { "name": "cbr0", "cniVersion": "0.3.1", "plugins": [
      { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
      { "type": "portmap", "capabilities": { "portMappings": true } } ] }

    """#

  private let directory = try? TemporaryDirectory("conf")
  private func place(_ name: String) -> String { "\(directory?.path ?? "")/\(name)" }
  private var target: String { place("net.d/10-flannel.conflist") }

  private func source(_ text: String = Self.flannel, mode: mode_t = 0o640) throws -> String {
    try Files.makeDirectory(place("net.d"))
    try Files.writeAtomically(Array(text.utf8), to: place("cni-conf.json"), mode: mode)
    return place("cni-conf.json")
  }

  private func install(_ source: String, name: String = ConfigurationInstallation.standardName) throws -> Said {
    let said = Said()
    try ConfigurationInstallation(source: source, directory: place("net.d"), name: name).run(said.report)
    return said
  }

  @Test func theListAndItsMode() throws {
    let said = try install(try source())
    #expect(said.lines == ["installed \(target)"])
    #expect(try Files.text(target) == Self.flannel)
    #expect(try Files.status(target).permissions == 0o640)
    #expect(try Files.list(place("net.d")) == ["10-flannel.conflist"])
  }

  @Test func whatIsRightIsNotTouched() throws {
    let source = try source()
    _ = try install(source)
    let before = try Files.status(target)
    #expect(try install(source).verbs == ["unchanged"])
    #expect(try Files.status(target) == before)
    chmod(source, 0o600)
    #expect(try install(source).verbs == ["installed"])
    #expect(try Files.status(target).permissions == 0o600)
  }

  /// A ConfigMap is mounted as links to files of a directory that is exchanged.
  @Test func theSourceMayBeALink() throws {
    let source = try source()
    symlink(source, place("link"))
    _ = try install(place("link"))
    #expect(try Files.linkStatus(target).isRegular)
    #expect(try Files.status(target).permissions == 0o640)
  }

  @Test(arguments: [
    ("", "cni-conf.json is not a CNI configuration list"), ("{", "cni-conf.json is not a CNI configuration list"),
    ("[]", "no JSON object"), (#"{"cniVersion":"1.0.0","plugins":[{"type":"flannel"}]}"#, "no name"),
    (#"{"name":"cbr0","cniVersion":"1.0.0","plugins":[]}"#, "no plugins in list"),
    (#"{"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"flannel"},{}]}"#, "plugin config 1: missing 'type'"),
    (#"{"name":"cbr0","cniVersion":"1.0.0","type":"flannel"}"#, "no 'plugins' key"),
  ])
  func whatARuntimeWouldRefuse(_ text: String, _ words: String) throws {
    _ = try install(try source())
    let error = #expect(throws: InstallError.self) { try install(try source(text)) }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    #expect(try Files.text(target) == Self.flannel)
  }

  @Test func whatCannotBeInstalledIsNamed() throws {
    let source = try source()
    for name in ["../x.conflist", "x.conf", ".x.conflist", "a/b.conflist"] {
      let error = #expect(throws: InstallError.self) { try install(source, name: name) }
      #expect(error?.reason.hasPrefix("--name \(name) is no name") == true)
    }
    let missing = #expect(throws: InstallError.self) { try install(place("none")) }
    #expect(missing?.description == "cannot install \(target): open \(place("none")): no such file or directory")
    try Files.removeTree(place("net.d"))
    let nowhere = #expect(throws: InstallError.self) { try install(place("cni-conf.json")) }
    #expect(nowhere?.description.hasPrefix("cannot install \(target): open ") == true)
  }

  // MARK: install-conf

  private func installConf(_ words: String...) -> (status: Int32, said: [String]) {
    var said: [String] = []
    let status = InstallConf.main(["/opt/bin/install-conf"] + words) { said.append($0) }
    return (status, said)
  }

  /// Any file is copied, whatever it holds.
  @Test func installConfCopies() throws {
    let (from, to) = (try source("anything", mode: 0o604), place("net.d/any"))
    #expect(installConf(from, to) == (0, []))
    #expect(try Files.text(to) == "anything")
    #expect(try Files.status(to).permissions == 0o604)
    #expect(try Files.list(place("net.d")) == ["any"])
  }

  @Test func installConfRefuses() throws {
    let usage = "usage: /opt/bin/install-conf <src> <dest>"
    #expect(installConf() == (1, [usage]))
    #expect(installConf("a") == (1, [usage]))
    #expect(installConf("a", "b", "c") == (1, [usage]))
    let (from, to) = (place("none"), place("net.d/x"))
    #expect(
      installConf(from, to) == (1, ["error installing \"\(from)\": open \(from): no such file or directory"]))
    let there = try source()
    let (status, said) = installConf(there, place("nowhere/x"))
    #expect(status == 1)
    #expect(said.count == 1 && said[0].hasPrefix("error installing \"\(there)\": open \(place("nowhere/.x.tmp"))"))
  }
}
