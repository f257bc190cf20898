import JSON
import NetTypes

/// A run of addresses of one subnet to allocate from (contract cni §B3, "Range rules").
struct AddressRange: Hashable {
  var subnet: IPPrefix
  /// First address, inclusive.
  var start: IPAddress
  /// Last address, inclusive.
  var end: IPAddress
  /// Never allocated.
  var gateway: IPAddress

  /// Checks a range and fills in what is not given.
  init(subnet: IPPrefix, start: IPAddress? = nil, end: IPAddress? = nil, gateway: IPAddress? = nil) throws(CNIError) {
    guard subnet.length <= subnet.family.bitWidth - 2, let first = subnet.base.advanced(by: 1),
      let last = subnet.last.advanced(by: subnet.family == .ipv4 ? -1 : 0)
    else { throw invalid("Network \(subnet) too small to allocate from") }
    guard subnet.isNetwork else {
      throw invalid(
        "Network has host bits set. For a subnet mask of length \(subnet.length) the network address is \(subnet.base)")
    }
    self.subnet = subnet
    self.start = start ?? first
    self.end = end ?? last
    self.gateway = gateway ?? first
    // The bounds are checked against what was given only, and the start before the end: a start behind the end is an
    // error of the start.
    if let start, !subnet.contains(start) || end.map({ start > $0 }) == true {
      throw invalid("RangeStart \(start) not in network \(subnet)")
    }
    if let end, !subnet.contains(end) || end < self.start {
      throw invalid("RangeEnd \(end) not in network \(subnet)")
    }
  }

  /// Reads `{"subnet", "rangeStart", "rangeEnd", "gateway"}`.
  init(json o: JSONObject) throws(CNIError) {
    guard let text = try o.string("subnet") else { throw invalid("IP <nil> not v4 nor v6") }
    guard let subnet = IPPrefix(text) else { throw .configuration("invalid CIDR address: \(text)") }
    try self.init(
      subnet: subnet, start: try address(o, "rangeStart"), end: try address(o, "rangeEnd"),
      gateway: try address(o, "gateway"))
  }

  func contains(_ a: IPAddress) -> Bool { subnet.contains(a) && start <= a && a <= end }

  func overlaps(_ other: AddressRange) -> Bool {
    contains(other.start) || contains(other.end) || other.contains(start) || other.contains(end)
  }
}

extension AddressRange: CustomStringConvertible {
  var description: String { "\(start)-\(end)" }
}

/// Ranges of one family; an attachment gets one address of each set.
struct AddressRangeSet: Hashable {
  let ranges: [AddressRange]

  /// - Throws: `empty range set`, `mixed address families`, `subnets … overlap`.
  init(_ ranges: [AddressRange]) throws(CNIError) {
    guard let first = ranges.first else { throw invalid("empty range set") }
    guard ranges.allSatisfy({ $0.subnet.family == first.subnet.family }) else {
      throw invalid("mixed address families")
    }
    for (i, a) in ranges.enumerated() {
      for b in ranges[(i + 1)...] where a.overlaps(b) { throw invalid("subnets \(a) and \(b) overlap") }
    }
    self.ranges = ranges
  }

  var family: AddressFamily { ranges.first?.subnet.family ?? .ipv4 }
  func range(of a: IPAddress) -> AddressRange? { ranges.first { $0.contains(a) } }
  func contains(_ a: IPAddress) -> Bool { range(of: a) != nil }
  func overlaps(_ other: AddressRangeSet) -> Bool {
    ranges.contains { a in other.ranges.contains { a.overlaps($0) } }
  }

  /// The addresses in the order they are tried: behind the one that was reserved last, round all ranges, each range's
  /// gateway left out.
  func candidates(after last: IPAddress?) -> Candidates { Candidates(self, after: last) }

  struct Candidates: Sequence, IteratorProtocol {
    private let ranges: [AddressRange]
    private var index: Int
    private var current: IPAddress?
    private var first: IPAddress?

    fileprivate init(_ set: AddressRangeSet, after last: IPAddress?) {
      ranges = set.ranges
      let found = last.flatMap { l in set.ranges.firstIndex { $0.contains(l) } }
      index = found ?? 0
      current = found == nil ? nil : last
    }

    mutating func next() -> (address: IPAddress, range: AddressRange)? {
      while ranges.indices.contains(index) {
        let a: IPAddress
        if let current, current != ranges[index].end, let following = current.advanced(by: 1) {
          a = following
        } else {
          if current != nil { index = (index + 1) % ranges.count }
          a = ranges[index].start
        }
        current = a
        if first == nil { first = a } else if first == a { return nil }
        if a != ranges[index].gateway { return (a, ranges[index]) }
      }
      return nil
    }
  }
}

extension AddressRangeSet: CustomStringConvertible {
  var description: String { ranges.map(\.description).joined(separator: ",") }
}

/// An error of the configuration; callers prefix it.
func invalid(_ message: String) -> CNIError { .plain(message, .invalidConfiguration) }
