import Glibc
import JSON
import NetTypes
import Syscalls
import TestSupport
import Testing

@testable import CNI

@Suite struct HostLocalCommandTests {
  let dir: TemporaryDirectory
  init() throws { dir = try TemporaryDirectory("hl") }

  func config(_ version: String = "0.3.1", ranges: String, more: String = "", top: String = "") -> String {
    #"{"cniVersion":"\#(version)","name":"mynet","type":"bridge"\#(top),"ipam":{"type":"host-local","#
      + #""dataDir":"\#(dir.path)/d","ranges":\#(ranges)\#(more)}}"#
  }
  let one = #"[[{"subnet":"10.1.2.0/24"}]]"#
  let two = #"[[{"subnet":"10.1.2.0/24"},{"subnet":"10.2.2.0/24"}],[{"subnet":"2001:db8:1::/64"}]]"#
  var call: PluginCall { PluginCall(HostLocalPlugin()) }
  func content(_ name: String) -> String? { try? Files.text("\(dir.path)/d/mynet/\(name)") }
  var names: [String] {
    ((try? Files.list("\(dir.path)/d/mynet")) ?? []).filter { IPAddress($0) != nil }.sorted()
  }
  func with(id: String, ifname: String = "eth0", args: String = "") -> PluginCall {
    var c = call
    c.id = id
    c.ifname = ifname
    c.args = args
    return c
  }

  @Test(arguments: CNIVersion.all)
  func addAndDel(version: CNIVersion) throws {
    let resolv = try dir.write("nameserver 192.0.2.3\n", to: "resolv.conf")
    let routes =
      #","routes":[{"dst":"0.0.0.0/0"},{"dst":"192.168.0.0/16","gw":"1.1.1.1"},{"dst":"2001:db8:2::0/64"},"#
      + #"{"dst":"2001:db8:3::0/64","gw":"2001:db8:3::1"}],"resolvConf":"\#(resolv)""#
    let c = config(version.description, ranges: two, more: routes)
    let out = call(c)
    #expect(out.exitCode == 0, "\(out.text)")
    #expect(out.errorText.isEmpty)
    let r = try CNIResult(parsing: try JSONValue(parsing: out.stdout), version: version)
    #expect(r.ips.map(\.address.description) == ["10.1.2.2/24", "2001:db8:1::2/64"])
    #expect(r.ips.map { $0.gateway?.description } == ["10.1.2.1", "2001:db8:1::1"])
    #expect(r.ips.allSatisfy { $0.interface == nil })
    #expect(r.routes.map(\.dst.description) == ["0.0.0.0/0", "192.168.0.0/16", "2001:db8:2::/64", "2001:db8:3::/64"])
    #expect(r.dns.nameservers == ["192.0.2.3"])
    #expect(out.text.contains("\"version\":") == (version >= .v0_3_0 && version <= .v0_4_0))
    #expect(content("10.1.2.2") == "dummy\r\neth0")
    #expect(content("2001:db8:1::2") == "dummy\r\neth0")
    #expect(content("last_reserved_ip.0") == "10.1.2.2")
    #expect(content("last_reserved_ip.1") == "2001:db8:1::2")
    #expect(try Files.status("\(dir.path)/d/mynet/10.1.2.2").permissions == 0o600)
    #expect(try Files.status("\(dir.path)/d/mynet").permissions == 0o755)
    if version >= .v0_4_0 { #expect(call(c, "CHECK").exitCode == 0) }
    #expect(call(c, "DEL").stdout.isEmpty)
    #expect(names.isEmpty)
    #expect(content("last_reserved_ip.0") == "10.1.2.2")
    #expect(call(c, "DEL").exitCode == 0)
    if version >= .v0_4_0 {
      #expect(call(c, "CHECK").message == "host-local: Failed to find address added by container dummy")
    }
  }

  @Test func interfacesOfOneContainerAreApart() {
    let c = config(ranges: one)
    #expect(with(id: "a")(c).addresses == ["10.1.2.2/24"])
    #expect(with(id: "a", ifname: "eth1")(c).addresses == ["10.1.2.3/24"])
    #expect(with(id: "a")(c, "DEL").exitCode == 0)
    #expect(names == ["10.1.2.3"])
    #expect(content("10.1.2.3") == "a\r\neth1")
  }

  @Test func repeatedAddIsRefused() {
    let c = config(ranges: one)
    #expect(with(id: "a")(c).addresses == ["10.1.2.2/24"])
    let refused =
      "failed to allocate for range 0: 10.1.2.2 has been allocated to a, duplicate allocation is not allowed"
    #expect(with(id: "a")(c).message == refused)
    #expect(with(id: "b")(c).addresses == ["10.1.2.3/24"])
    #expect(with(id: "a")(c).message == refused)
    #expect(with(id: "a")(c, "DEL").exitCode == 0)
    #expect(with(id: "a")(c).addresses == ["10.1.2.4/24"])
  }

  @Test func oldFilesAreKnown() throws {
    let c = config("0.4.0", ranges: one)
    try dir.write("dummy", to: "d/mynet/10.1.2.9")
    #expect(call(c, "CHECK").exitCode == 0)
    #expect(call(c).message?.contains("10.1.2.9 has been allocated to dummy") == true)
    #expect(call(c, "DEL").exitCode == 0)
    #expect(names.isEmpty)
  }

  /// Trap 16: upstream makes the directory of a network it has never seen.
  @Test func delOfNothingMakesNothing() {
    #expect(call(config(ranges: one), "DEL").exitCode == 0)
    #expect(!Files.exists("\(dir.path)/d"))
  }

  @Test func whiteSpaceInTheIdIsDropped() throws {
    let spy = SpyPlugin()
    _ = call(config(ranges: one))
    _ = PluginCall(spy)(config(ranges: one))
    var r = try #require(spy.last)
    r.containerID = "   dummy2\n "
    _ = try HostLocalPlugin().add(r)
    #expect(content("10.1.2.3") == "dummy2\r\neth0")
    try HostLocalPlugin().del(r)
    #expect(names == ["10.1.2.2"])
  }

  @Test func requestedAddresses() {
    let c = config(ranges: #"[[{"subnet":"10.1.2.0/24"}],[{"subnet":"10.1.3.0/24"}],[{"subnet":"2001:db8:1::/64"}]]"#)
    #expect(
      with(id: "a", args: "IgnoreUnknown=1;IP=10.1.2.88;X=1")(c).addresses == [
        "10.1.2.88/24", "10.1.3.2/24", "2001:db8:1::2/64",
      ])
    let top = #","args":{"cni":{"ips":["10.1.3.77/24"]}},"runtimeConfig":{"ips":["2001:db8:1::999"]}"#
    let full = config(ranges: #"[[{"subnet":"10.1.3.0/24"}],[{"subnet":"2001:db8:1::/64"}]]"#, top: top)
    #expect(with(id: "b")(full).addresses == ["10.1.3.77/24", "2001:db8:1::999/64"])
    #expect(
      with(id: "c")(full).message
        == "failed to allocate for range 0: requested IP address 10.1.3.77 is not available in range set "
        + "10.1.3.1-10.1.3.254")
    let before = names
    let unused = with(id: "d", args: "IP=10.9.9.9")(config(ranges: one))
    #expect(unused.message == "failed to allocate all requested IPs: 10.9.9.9")
    #expect(
      with(id: "d", args: "IP=10.1.2.1")(config(ranges: one)).message
        == "failed to allocate for range 0: requested ip 10.1.2.1 is subnet's gateway")
    #expect(names == before)
    #expect(with(id: "d", args: "X=1")(config(ranges: one)).message == #"ARGS: unknown args ["X=1"]"#)
    #expect(with(id: "d", args: "IP=z")(config(ranges: one)).message?.hasPrefix("ARGS: error parsing value") == true)
  }

  @Test func aFailureGivesBackTheEarlierSets() {
    let c = config(ranges: #"[[{"subnet":"10.1.2.0/24"}],[{"subnet":"10.1.3.0/30"}]]"#)
    #expect(with(id: "a")(c).exitCode == 0)
    let out = with(id: "b")(c)
    #expect(
      out.message
        == "failed to allocate for range 1: no IP addresses available in range set: 10.1.3.1-10.1.3.2")
    #expect(out.code == 11)
    #expect(names == ["10.1.2.2", "10.1.3.2"])
  }

  @Test func fullSetsAndReuse() {
    let c = config(ranges: #"[[{"subnet":"192.168.1.0/29"}]]"#)
    for i in 2...6 { #expect(with(id: "c\(i)")(c).addresses == ["192.168.1.\(i)/29"]) }
    #expect(
      with(id: "x")(c).message?.contains("no IP addresses available in range set: 192.168.1.1-192.168.1.6") == true)
    #expect(with(id: "c4")(c, "DEL").exitCode == 0)
    #expect(with(id: "x")(c).addresses == ["192.168.1.4/29"])
  }

  @Test func configurationErrors() {
    func message(_ ipam: String, _ version: String = "0.3.1", _ top: String = "") -> String? {
      call(#"{"cniVersion":"\#(version)","name":"x"\#(top),"ipam":\#(ipam)}"#).message
    }
    #expect(message("null") == "IPAM config missing 'ipam' key")
    #expect(message("{}") == "no IP ranges specified")
    #expect(message(#"{"ranges":[[]]}"#) == "invalid range set 0: empty range set")
    #expect(
      message(#"{"ranges":[[{"subnet":"10.1.2.0/24"},{"subnet":"2001:db8:1::/64"}]]}"#)
        == "invalid range set 0: mixed address families")
    #expect(
      message(#"{"ranges":[[{"subnet":"10.1.0.0/22"},{"subnet":"10.1.2.0/24","rangeEnd":"10.1.2.254"}]]}"#)
        == "invalid range set 0: subnets 10.1.0.1-10.1.3.254 and 10.1.2.1-10.1.2.254 overlap")
    #expect(
      message(#"{"ranges":[[{"subnet":"10.1.0.0/22"}],[{"subnet":"10.1.2.0/24"}]]}"#)
        == "range set 0 overlaps with 1")
    #expect(
      message(#"{"ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"10.1.3.0/24"}]]}"#, "0.2.0")
        == "CNI version 0.2.0 does not support more than 1 address per family")
  }

  @Test func orderOfTheSets() throws {
    let c =
      #"{"cniVersion":"0.3.1","name":"mynet","runtimeConfig":{"ipRanges":[[{"subnet":"10.7.0.0/24"}]]},"#
      + #""ipam":{"dataDir":"\#(dir.path)/d","subnet":"10.5.0.0/24","rangeStart":"10.5.0.9","#
      + #""gateway":"10.5.0.254","ranges":[[{"subnet":"10.6.0.0/24"}]]}}"#
    #expect(call(c).addresses == ["10.7.0.2/24", "10.5.0.9/24", "10.6.0.2/24"])
  }

  @Test func statusAndGC() {
    let c = config("1.1.0", ranges: one)
    #expect(call(c, "STATUS").exitCode == 0)
    #expect(call(config("1.1.0", ranges: "[]"), "STATUS").code == 7)
    for id in ["a", "b", "c"] { _ = with(id: id)(c) }
    #expect(call(c, "GC").code == 7)
    #expect(names.count == 3)
    let valid = #","cni.dev/valid-attachments":[{"containerID":"b","ifname":"eth0"},{"containerID":"c","ifname":"x"}]"#
    #expect(call(config("1.1.0", ranges: one, top: valid), "GC").exitCode == 0)
    #expect(names == ["10.1.2.3"])
    #expect(with(id: "b")(c).message?.contains("duplicate") == true)
    #expect(call(config("1.1.0", ranges: one, top: #","cni.dev/valid-attachments":null"#), "GC").exitCode == 0)
    #expect(names.isEmpty)
  }

  @Test func delWorksWithChangedRanges() {
    _ = call(config(ranges: one))
    #expect(call(config(ranges: "7"), "DEL").exitCode == 0)
    #expect(names.isEmpty)
  }

  @Test func unusableDirectory() {
    let c = #"{"cniVersion":"0.3.1","name":"x","ipam":{"dataDir":"/proc/nope","ranges":\#(one)}}"#
    #expect(call(c).code == 5)
    #expect(call(c).message?.hasPrefix("mkdir /proc/nope") == true)
    #expect(call(c, "DEL").exitCode == 0)
  }
}
