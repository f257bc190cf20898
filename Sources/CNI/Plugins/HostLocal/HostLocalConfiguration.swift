import JSON
import NetTypes

/// The configuration of host-local (contract cni §B3). The plugin is given the whole configuration of its caller.
struct HostLocalConfiguration {
  /// Where reservations are kept when `dataDir` is not given.
  static let defaultDataDirectory = "/var/lib/cni/networks"

  /// The directory of the network's reservations.
  var directory: String
  var sets: [AddressRangeSet] = []
  /// Addresses that were asked for by name, each once.
  var requested: [IPAddress] = []
  var routes: [CNIResult.Route] = []
  /// Empty: no resolver settings in the result.
  var resolvConf = ""

  /// The part that DEL, CHECK and GC need: they must work when the ranges have been changed to nonsense.
  init(locating request: CNIRequest) throws(CNIError) {
    guard let ipam = try request.config.object("ipam") else { throw invalid("IPAM config missing 'ipam' key") }
    let data = try ipam.string("dataDir") ?? ""
    directory = (data.isEmpty ? Self.defaultDataDirectory : data) + "/" + request.name
  }

  /// Everything, checked.
  init(_ request: CNIRequest) throws(CNIError) {
    try self.init(locating: request)
    let ipam = try request.config.object("ipam") ?? JSONObject()
    let runtime = try request.config.object("runtimeConfig") ?? JSONObject()
    requested = try Self.requested(request, runtime)
    sets = try Self.sets(ipam, runtime)
    try check(request.version)
    for v in try ipam.array("routes") ?? [] { routes.append(try CNIResult.Route(json: v)) }
    resolvConf = try ipam.string("resolvConf") ?? ""
  }

  /// The sets in order: of the runtime, the old single range, `ranges`.
  private static func sets(_ ipam: JSONObject, _ runtime: JSONObject) throws(CNIError) -> [AddressRangeSet] {
    var lists: [[JSONValue]] = []
    for v in try runtime.array("ipRanges") ?? [] { lists.append(try list(v)) }
    if ipam.field("subnet") != nil { lists.append([.object(ipam)]) }
    for v in try ipam.array("ranges") ?? [] { lists.append(try list(v)) }
    guard !lists.isEmpty else { throw invalid("no IP ranges specified") }
    var out: [AddressRangeSet] = []
    for (i, list) in lists.enumerated() {
      do throws(CNIError) {
        var ranges: [AddressRange] = []
        for v in list {
          guard let o = v.objectValue else { throw wrongKind("ranges", v, "object") }
          ranges.append(try AddressRange(json: o))
        }
        out.append(try AddressRangeSet(ranges))
      } catch {
        throw error.prefixed("invalid range set \(i): ")
      }
    }
    return out
  }

  private static func list(_ v: JSONValue) throws(CNIError) -> [JSONValue] {
    if v.isNull { return [] }
    guard let a = v.arrayValue else { throw wrongKind("ranges", v, "array") }
    return a
  }

  /// Rules between the sets.
  private func check(_ version: CNIVersion) throws(CNIError) {
    for family in AddressFamily.allCases where version < .v0_3_0 {
      guard sets.filter({ $0.family == family }).count <= 1 else {
        throw invalid("CNI version \(version) does not support more than 1 address per family")
      }
    }
    for (i, a) in sets.enumerated() {
      for (j, b) in sets.enumerated() where j > i && a.overlaps(b) {
        throw invalid("range set \(i) overlaps with \(j)")
      }
    }
  }

  /// The wishes: `IP=` of `CNI_ARGS`, `args.cni.ips`, `runtimeConfig.ips`; plain or with a length.
  private static func requested(_ request: CNIRequest, _ runtime: JSONObject) throws(CNIError) -> [IPAddress] {
    var texts: [String] = []
    if let cni = try request.config.object("args")?.object("cni") { texts += try cni.strings("ips") }
    texts += try runtime.strings("ips")
    var out = try wishes(request)
    for text in texts {
      guard let a = wish(text) else { throw invalid("invalid IP address: \(text)") }
      if !out.contains(a) { out.append(a) }
    }
    return out
  }

  /// `IP` of `CNI_ARGS`. Other keys are refused unless `IgnoreUnknown` is set, which every Kubernetes runtime does.
  private static func wishes(_ request: CNIRequest) throws(CNIError) -> [IPAddress] {
    var out: [IPAddress] = []
    var unknown: [String] = []
    var lenient = false
    for (name, value) in try request.arguments() {
      switch name {
      case "IP":
        if value.isEmpty { continue }
        guard let a = wish(value) else {
          throw .plain(
            "ARGS: error parsing value of pair \(quoted("IP=" + value)): invalid IP address \(value)",
            .invalidEnvironment)
        }
        out.append(a)
      case "IgnoreUnknown": lenient = ["1", "true"].contains(value.lowercased())
      default: unknown.append("\(name)=\(value)")
      }
    }
    guard lenient || unknown.isEmpty else {
      throw .plain("ARGS: unknown args [\(unknown.map { quoted($0) }.joined(separator: " "))]", .invalidEnvironment)
    }
    return out
  }

  /// A wish, plain or with a length.
  private static func wish(_ text: String) -> IPAddress? { IPAddress(text) ?? IPPrefix(text)?.address }
}
