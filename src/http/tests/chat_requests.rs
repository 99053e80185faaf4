//! What `/v1/chat` says to requests that it cannot do.

use serde_json::json;

use super::{
    chat::chat_with,
    *,
};

#[tokio::test]
async fn where_an_item_is_is_told_to_whoever_looks_for_it_elsewhere() {
    let chat = chat_with(|config| config.chat.rules.approval = crate::config::Approval::First).await;
    let held = chat.enqueue("Ann", "First.").await["id"].clone();
    let audio = format!("/v1/chat/items/{}/audio", held.as_str().expect("an id"));
    let told = |answer: Answer| {
        assert_eq!(answer.error(), (404, "item_not_found".to_owned()));
        answer.json()["error"]["message"].as_str().expect("a message").to_owned()
    };
    assert!(told(get(&chat.app, &audio).await).ends_with("is held for approval"));
    let which = json!({"id": held});
    assert_eq!(chat.post("/v1/chat/approve", which.clone()).await.status, 200);
    assert!(told(chat.post("/v1/chat/approve", which.clone()).await).contains("needs no approval"));
    chat.post("/v1/chat/mute-user", json!({"platform": "twitch", "user": "Ann"})).await;
    for path in ["approve", "reject"] {
        let message = told(chat.post(&format!("/v1/chat/{path}"), which.clone()).await);
        assert!(message.ends_with("has ended (withdrawn)"), "{message}");
    }
    assert!(told(get(&chat.app, &audio).await).ends_with("has ended (withdrawn)"));
    assert!(told(get(&chat.app, "/v1/chat/items/x-1/audio").await).contains("no chat item is called"));
}
