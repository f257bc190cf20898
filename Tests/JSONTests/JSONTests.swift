import JSON
import Testing

@Suite struct JSONTests {
  @Test(arguments: [
    "null", "true", "[]", "{}", "[1,-2.5e+10,0]", #"{"a":{"b":[null,"x"]},"c":""}"#, #""\u00e9""#,
  ])
  func roundTrips(text: String) throws {
    let v = try JSONValue(parsing: text)
    #expect(try JSONValue(parsing: v.text()) == v)
    #expect(try JSONValue(parsing: v.text(.cni)) == v)
  }

  @Test(arguments: [
    "", " ", "{", "[", "[1,]", "{\"a\"}", "{\"a\":}", "{,}", "01", "1.", "-", "1e", "tru", "\"", "\"\\x\"", "\"\\u12\"",
    "nul", "[1 2]", "1 1", "\"a\nb\"", "+1", "{a:1}",
  ])
  func refuses(text: String) { #expect(throws: JSONError.self) { try JSONValue(parsing: text) } }

  /// Looking through all members for each new one would take minutes here.
  @Test func manyMembers() throws {
    let names = (0..<40_000).map { "k\($0)" }
    let text = "{" + names.map { "\"\($0)\":1" }.joined(separator: ",") + ",\"k7\":2}"
    let start = ContinuousClock.now
    let object = try #require(try JSONValue(parsing: text).objectValue)
    #expect(ContinuousClock.now - start < .seconds(10))
    #expect(object.names == names)
    #expect(object["k7"] == 2 && object["k39999"] == 1 && object["x"] == nil)
  }

  @Test func indexedMembersStayInOrder() throws {
    var object = JSONObject((0..<20).map { ("n\($0)", .integer($0)) })
    object["n3"] = nil
    #expect(object.count == 19 && object["n3"] == nil && object["n19"] == 19 && object["n4"] == 4)
    object["n3"] = "again"
    object["n5"] = "new"
    #expect(object.names.last == "n3" && object["n5"] == "new" && object.names[4] == "n5")
    for i in 0..<10 { object["n\(i)"] = nil }
    #expect(object.names == (10..<20).map { "n\($0)" })
    #expect(object["n15"] == 15)
    object["z"] = true
    #expect(object["z"] == true && object.count == 11)
  }

  @Test func keepsOrderAndNumbers() throws {
    let v = try JSONValue(parsing: #"{"z":1.50,"a":18446744073709551616}"#)
    #expect(v.text() == #"{"z":1.50,"a":18446744073709551616}"#)
    #expect(v.text(.sorted) == #"{"a":18446744073709551616,"z":1.50}"#)
    #expect(v.text(.cni) == "{\n    \"z\": 1.50,\n    \"a\": 18446744073709551616\n}")
  }

  @Test func escapes() throws {
    #expect(try JSONValue(parsing: #""\ud83d\ude00\n\"\\\/""#).stringValue == "😀\n\"\\/")
    #expect(try JSONValue(parsing: #""\ud83dx""#).stringValue == "\u{fffd}x")
    #expect(JSONValue.string("a\"\\\n\u{1}").text() == #""a\"\\\n\u0001""#)
  }

  @Test func lastDuplicateWinsAndCaseIsFolded() throws {
    let o = try #require(
      try JSONValue(parsing: #"{"Network":"a","network":"b","NETWORK":"c","x":1,"x":2}"#).objectValue)
    #expect(o.caseInsensitive("Network")?.stringValue == "a")
    #expect(o.caseInsensitive("netWork")?.stringValue == "c")
    #expect(o["x"]?.intValue == 2)
  }

  @Test func depthIsLimited() {
    let deep = String(repeating: "[", count: 100_000)
    #expect(throws: JSONError.self) { try JSONValue(parsing: deep) }
  }

  @Test func neverTraps() {
    var g = SystemRandomNumberGenerator()
    let alphabet = Array(#"{}[]",:\u0123eE+-.truefalsn "#.utf8)
    for _ in 0..<50_000 {
      let b = (0..<Int.random(in: 0...40, using: &g)).map { _ in alphabet.randomElement(using: &g) ?? 0 }
      if let v = try? JSONValue(parsing: b) { #expect((try? JSONValue(parsing: v.bytes())) == v) }
    }
  }
}
