import NetTypes

/// One `-A` line of `iptables-save`, read word by word.
struct IptablesLine {
  /// A test of the packet.
  struct Match {
    var kind: Kind
    var isInverted: Bool
  }
  enum Kind {
    case source(IPPrefix)
    case destination(IPPrefix)
    case input(String)
    case output(String)
    case protocolNumber(UInt8)
    case sourcePorts([ClosedRange<UInt16>])
    case destinationPorts([ClosedRange<UInt16>])
    case mark(UInt32, mask: UInt32)
    /// `RTN_*`
    case sourceType(UInt32)
    case destinationType(UInt32)
    case states(Set<String>)
    case sourceMAC(MACAddress)
    case probability(Double)
    case recent(Recent)
  }
  /// A list of source addresses.
  struct Recent {
    var name = "DEFAULT"
    /// Puts the address on the list; otherwise the list is asked for it.
    var isSet = false
    var seconds: UInt64?
  }
  enum Target {
    case none
    case accept, drop, reject, `return`
    /// `mark = mark & ~clear ^ flip`
    case mark(clear: UInt32, flip: UInt32)
    case masquerade(fullyRandom: Bool)
    case dnat(IPAddress?, UInt16?)
    case snat(IPAddress)
    case jump(String)
    case goto(String)
  }

  var chain = ""
  var matches: [Match] = []
  var target = Target.none

  init(_ text: String) throws(TraceError) {
    var words = Words(text)
    guard words.next() == "-A", let chain = words.next() else { throw TraceError("no rule: \(text)") }
    self.chain = chain
    var isInverted = false
    while let word = words.next() {
      if word == "!" {
        isInverted = true
        continue
      }
      if word == "-j" || word == "-g" {
        try readTarget(word, &words)
      } else if let kind = try Self.kind(word, &words) {
        matches.append(Match(kind: kind, isInverted: isInverted))
      } else if word == "--set" || word == "--rcheck" || word == "--seconds" || word == "--name" {
        try readRecent(word, &words)
      } else {
        throw TraceError("the tracer does not know \(word) in \(text)")
      }
      isInverted = false
    }
  }

  /// The words of a line; quotes keep them together, a backslash keeps what follows.
  struct Words {
    private var list: ArraySlice<String>

    init(_ text: String) {
      var out: [String] = []
      var word: String?
      var isQuoted = false
      var isEscaped = false
      for c in text {
        if isEscaped {
          word = (word ?? "") + String(c)
          isEscaped = false
        } else if c == "\\" {
          isEscaped = true
        } else if c == "\"" {
          isQuoted.toggle()
          word = word ?? ""
        } else if c == " ", !isQuoted {
          if let w = word { out.append(w) }
          word = nil
        } else {
          word = (word ?? "") + String(c)
        }
      }
      if let w = word { out.append(w) }
      list = out[...]
    }

    mutating func next() -> String? { list.popFirst() }
    var peek: String? { list.first }

    /// The next word as a value.
    mutating func value<T>(_ what: String, _ read: (String) -> T?) throws(TraceError) -> T {
      let word = next() ?? ""
      guard let v = read(word) else { throw TraceError("\(what) \(word) not understood") }
      return v
    }
  }
}

// MARK: matches

extension IptablesLine {
  /// nil when the word is no match; matches that test nothing (`-m`, comments) are read over.
  private static func kind(_ word: String, _ words: inout Words) throws(TraceError) -> Kind? {
    switch word {
    case "-s": .source(try words.value("prefix", prefix))
    case "-d": .destination(try words.value("prefix", prefix))
    case "-i": .input(try words.value("interface") { $0 })
    case "-o": .output(try words.value("interface") { $0 })
    case "-p": .protocolNumber(try words.value("protocol", protocolNumber))
    case "--sport", "--sports", "--source-ports": .sourcePorts(try words.value("ports", ports))
    case "--dport", "--dports", "--destination-ports": .destinationPorts(try words.value("ports", ports))
    case "--mark": try words.value("mark") { pair($0).map { .mark($0.0, mask: $0.1) } }
    case "--src-type": .sourceType(try words.value("type", addressType))
    case "--dst-type": .destinationType(try words.value("type", addressType))
    case "--ctstate": .states(try words.value("states") { Set($0.split(separator: ",").map(String.init)) })
    case "--mac-source": .sourceMAC(try words.value("address") { MACAddress($0.lowercased()) })
    case "--probability": .probability(try words.value("probability") { Double($0) })
    case "-m": try module(&words)
    case "--comment", "--mode", "--mask":
      try words.value("word") { $0 == "nth" ? nil : .probability(1) }
    case "--reap", "--rsource": .probability(1)
    default: nil
    }
  }

  private static func module(_ words: inout Words) throws(TraceError) -> Kind {
    let known = ["comment", "mark", "addrtype", "conntrack", "multiport", "tcp", "udp", "sctp", "statistic", "mac"]
    return try words.value("match") { name in
      name == "recent" ? .recent(Recent()) : known.contains(name) ? .probability(1) : nil
    }
  }

  /// The options of the `recent` match before.
  private mutating func readRecent(_ word: String, _ words: inout Words) throws(TraceError) {
    guard let i = matches.indices.last(where: { if case .recent = matches[$0].kind { true } else { false } }),
      case .recent(var recent) = matches[i].kind
    else { throw TraceError("\(word) without -m recent") }
    switch word {
    case "--set": recent.isSet = true
    case "--seconds": recent.seconds = try words.value("seconds") { UInt64($0) }
    case "--name": recent.name = try words.value("name") { $0 }
    default: break
    }
    matches[i].kind = .recent(recent)
  }

  private static func prefix(_ text: String) -> IPPrefix? {
    IPPrefix(text)?.network ?? IPAddress(text).map { IPPrefix(host: $0) }
  }

  private static func protocolNumber(_ text: String) -> UInt8? {
    ["icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "ipv6-icmp": 58, "sctp": 132][text] ?? UInt8(text)
  }

  private static func ports(_ text: String) -> [ClosedRange<UInt16>]? {
    var out: [ClosedRange<UInt16>] = []
    for part in text.split(separator: ",") {
      let ends = part.split(separator: ":").map { UInt16($0) }
      guard let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last else { return nil }
      out.append(first...last)
    }
    return out
  }

  private static func addressType(_ text: String) -> UInt32? {
    ["UNICAST": 1, "LOCAL": 2, "BROADCAST": 3, "MULTICAST": 5][text]
  }

  /// `0x4000/0x4000`; the second is all bits where it is not given.
  static func pair(_ text: String) -> (UInt32, UInt32)? {
    let parts = text.split(separator: "/").map { p in
      p.hasPrefix("0x") ? UInt32(p.dropFirst(2), radix: 16) : UInt32(p)
    }
    guard let first = parts.first ?? nil else { return nil }
    guard parts.count > 1 else { return (first, .max) }
    return parts[1].map { (first, $0) }
  }
}

// MARK: targets

extension IptablesLine {
  private mutating func readTarget(_ word: String, _ words: inout Words) throws(TraceError) {
    let name = try words.value("target") { $0 }
    switch name {
    case "ACCEPT": target = .accept
    case "DROP": target = .drop
    case "RETURN": target = .return
    case "REJECT":
      target = .reject
      if words.peek == "--reject-with" { _ = (words.next(), words.next()) }
    case "MARK": target = try Self.mark(&words)
    case "MASQUERADE":
      let isRandom = words.peek == "--random-fully"
      if isRandom { _ = words.next() }
      target = .masquerade(fullyRandom: isRandom)
    case "DNAT":
      guard words.next() == "--to-destination" else { throw TraceError("DNAT without --to-destination") }
      let (address, port) = try words.value("destination", Self.endpoint)
      target = .dnat(address, port)
    case "SNAT":
      guard words.next() == "--to-source" else { throw TraceError("SNAT without --to-source") }
      target = .snat(try words.value("source") { IPAddress($0) })
    default: target = word == "-g" ? .goto(name) : .jump(name)
    }
  }

  private static func mark(_ words: inout Words) throws(TraceError) -> Target {
    let option = words.next() ?? ""
    let (value, mask) = try words.value("mark", pair)
    switch option {
    case "--set-xmark": return .mark(clear: mask, flip: value)
    case "--set-mark": return .mark(clear: mask | value, flip: value)
    case "--or-mark": return .mark(clear: value, flip: value)
    case "--xor-mark": return .mark(clear: 0, flip: value)
    case "--and-mark": return .mark(clear: ~value, flip: 0)
    default: throw TraceError("the tracer does not know MARK \(option)")
    }
  }

  /// `10.0.0.2:80`, `[fd00::2]:80`, `10.0.0.2`, `:80`
  private static func endpoint(_ text: String) -> (IPAddress?, UInt16?)? {
    if let address = IPAddress(text) { return (address, nil) }
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    let host = text[..<colon].drop { $0 == "[" }.prefix { $0 != "]" }
    if host.isEmpty { return (nil, port) }
    return IPAddress(host).map { ($0, port) }
  }
}
