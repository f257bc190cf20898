import CNI
import Glibc
import Syscalls
import TestSupport
import Testing

@testable import Installer

/// Taking files back; no root, no network.
@Suite struct UninstallTests {
  private let plugins = PluginDirectory()

  private var places: Uninstallation.Places {
    var places = Uninstallation.Places()
    places.plugins = plugins.bin
    places.configuration = "\(plugins.root)/net.d"
    return places
  }

  private func configure(_ text: String, _ name: String = "10-flannel.conflist") throws -> String {
    let path = "\(places.configuration)/\(name)"
    try Files.makeDirectory(places.configuration)
    try Files.writeAtomically(Array(text.utf8), to: path, mode: 0o644)
    return path
  }

  private func uninstall(dry: Bool = false) throws -> Said {
    let said = Said()
    #expect(try Uninstallation(places, isDry: dry).run(said.report))
    return said
  }

  @Test func whatIsOursGoesTheRestStays() throws {
    let foreign = try plugins.foreign()
    try plugins.install(try plugins.program("old"), "all")
    try plugins.install(try plugins.program("new"), "flannel")
    unlink("\(plugins.bin)/loopback")
    for name in ["loopback", "tuning"] { try plugins.put(foreign, as: name) }
    let list = try configure(ConfigurationTests.flannel)
    let other = try configure("{}", "05-other.conflist")

    let dry = try uninstall(dry: true)
    #expect(dry.lines.first == "would remove \(list)")
    #expect(try plugins.names() == ["bridge", "flannel", "host-local", "loopback", "portmap", "tuning"])
    #expect(Files.exists(list))

    let said = try uninstall()
    #expect(said.lines.map { $0.split(separator: " ").last } == dry.lines.map { $0.split(separator: " ").last })
    #expect(
      said.lines == ["removed \(list)"]
        + ["flannel", "bridge", "host-local", "portmap"].map { "removed \(plugins.bin)/\($0)" })
    #expect(try plugins.names() == ["loopback", "tuning"])
    #expect(try Files.list(places.configuration) == ["05-other.conflist"])
    #expect(Files.exists(other))
    #expect(try uninstall().lines == ["nothing to remove"])
  }

  @Test(arguments: [#"{"name":"x","cniVersion":"1.0.0","plugins":[{"type":"calico"}]}"#, "{", "[]"])
  func anotherConfigurationStays(_ text: String) throws {
    let list = try configure(text)
    let said = try uninstall()
    #expect(said.lines == ["nothing to remove"])
    #expect(said.warnings == ["kept \(list): it has no plugin of the type flannel"])
    #expect(try Files.text(list) == text)
  }

  @Test func whatAKilledInstallationLeft() throws {
    try plugins.put(try plugins.program(), as: ".bridge.tmp1-a")
    try plugins.put(try plugins.program(), as: ".calico.tmp")
    let left = try configure("{", ".10-flannel.conflist.tmp1-a")
    #expect(try uninstall().lines == ["removed \(left)", "removed \(plugins.bin)/.bridge.tmp1-a"])
    #expect(try plugins.names() == [".calico.tmp"])
  }

  @Test func whoIsAnAgent() {
    for words in [
      ["flanneld"], ["/opt/bin/flanneld", "--ip-masq"], ["/usr/bin/weft", "agent"], ["weft", "agent", "-v=1"],
    ] {
      #expect(RunningAgent.isAgent(words), "\(words)")
    }
    for words in [[], [""], ["weft"], ["weft", "lab", "agent"], ["vi", "flanneld"], ["sh", "-c", "flanneld"]] {
      #expect(!RunningAgent.isAgent(words), "\(words)")
    }
  }
}
