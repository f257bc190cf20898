import JSON
import Syscalls
import TestSupport
import Testing

/// Asks the kernel for a bridge that filters VLANs.
private let vlanFilteringIsSupported: Bool = {
  guard let n = try? TestNamespace("vl") else { return false }
  return (try? n.ip("link", "add", "b", "type", "bridge", "vlan_filtering", "1")) != nil
}()

/// VLANs of the bridge plugin. Not every kernel can filter VLANs on a bridge.
@Suite(.needsRoot, .enabled(if: vlanFilteringIsSupported, "needs a kernel with CONFIG_BRIDGE_VLAN_FILTERING"))
struct BridgeVLANTests {
  /// The VLANs of a port as `100 PVID untagged`.
  func vlans(_ f: BridgeFixture, _ port: String) throws -> [String] {
    let list = try f.host.bridge("vlan", "show", "dev", port).arrayValue?.first?.objectValue?["vlans"]?.arrayValue
    return (list ?? []).compactMap { entry in
      guard let o = entry.objectValue, let low = o["vlan"]?.intValue else { return nil }
      let high = o["vlanEnd"]?.intValue.map { "-\($0)" } ?? ""
      let flags = (o["flags"]?.arrayValue ?? []).compactMap(\.stringValue).filter { $0 != "Static" }
      return (["\(low)\(high)"] + flags.map { $0 == "Egress Untagged" ? "untagged" : $0 }).joined(separator: " ")
    }
  }

  @Test func access() throws {
    let f = try BridgeFixture("bva")
    let kept = ResultView(try f.add(f.configuration(["vlan": 100], subnets: []), f.pod()).json)
    #expect(try vlans(f, kept.name(1)) == ["1 untagged", "100 PVID untagged"])
    let removed = f.configuration(["vlan": 100, "preserveDefaultVlan": false], subnets: [])
    #expect(try vlans(f, ResultView(try f.add(removed, f.pod()).json).name(1)) == ["100 PVID untagged"])
  }

  @Test func trunk() throws {
    let f = try BridgeFixture("bvt")
    let trunk: JSONValue = [["id": 101], ["minID": 200, "maxID": 210]]
    let plain = f.configuration(["vlanTrunk": trunk], subnets: [])
    #expect(
      try vlans(f, ResultView(try f.add(plain, f.pod()).json).name(1)) == ["1 PVID untagged", "101", "200-210"])
    let both = f.configuration(["vlan": 100, "vlanTrunk": trunk, "preserveDefaultVlan": false], subnets: [])
    #expect(
      try vlans(f, ResultView(try f.add(both, f.pod()).json).name(1)) == ["100 PVID untagged", "101", "200-210"])
  }

  /// The gateway of a VLAN is an interface of its own, made once.
  @Test func gateway() throws {
    let f = try BridgeFixture("bvg")
    let config = f.configuration(["vlan": 100, "isDefaultGateway": true])
    let a = try f.pod()
    let b = try f.pod()
    let first = ResultView(try f.add(config, a).json)
    let second = ResultView(try f.add(config, b).json)
    #expect(first.interfaces.count == 4)
    #expect(first.name(3) == "cni0.100" && second.name(3) == "cni0.100")
    #expect(first.mac(3) == second.mac(3))
    #expect(try f.addresses("cni0.100") == ["10.1.2.1/24"])
    #expect(try f.addresses("cni0").isEmpty)
    #expect(try f.hostLinks().count == 5)
    #expect(try f.reaches("10.1.2.1", from: a.namespace))
    #expect(try f.reaches("10.1.2.3", from: a.namespace))
  }
}
